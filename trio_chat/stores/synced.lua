-- synced: raise the mark up to which the archive has everything, see HotStore.mark_synced.
--
-- ARGV: 1 room, 2 epoch, 3 mark, 4 ms a clean session lives.

local session = read_session()
if not session then
  return false
end
local current = redis.call('GET', NOW) == EPOCH
local synced = math.max(session.synced, math.min(tonumber(ARGV[3]), session.top))

trim(session.first, synced)
redis.call('HSET', META, 'synced', digits(synced))
if synced < session.top then
  remember_dirty(MEMBER)
elseif current then
  redis.call('ZREM', DIRTY, MEMBER)
  expire_in(ARGV[4])
else
  remove_session()
end
return false
