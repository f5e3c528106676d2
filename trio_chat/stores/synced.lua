-- synced: raise the mark up to which the archive has everything, see HotStore.mark_synced.
--
-- ARGV: 1 room, 2 epoch, 3 mark, 4 ms a clean session lives; then the receipts that were archived: user, receipt ...

local session = read_session()
if not session then
  return false
end
local current = redis.call('GET', NOW) == EPOCH
local synced = math.max(session.synced, math.min(tonumber(ARGV[3]), session.top))
-- A receipt that has changed since is still pending.
local archived = {}
for i = 5, #ARGV, 2 do
  if redis.call('HGET', PENDING, ARGV[i]) == ARGV[i + 1] then
    archived[#archived + 1] = ARGV[i]
  end
end

trim(session.first, synced)
for _, user in ipairs(archived) do
  redis.call('HDEL', PENDING, user)
end
redis.call('HSET', META, 'synced', digits(synced))
if is_dirty({top = session.top, synced = synced}, PENDING) then
  remember_dirty(MEMBER)
elseif current then
  redis.call('ZREM', DIRTY, MEMBER)
  expire_in(ARGV[4])
else
  remove_session()
end
return false
