-- unsynced: what the archive does not have of a session, see HotStore.unsynced.
--
-- ARGV: 1 room, 2 epoch, 3 how many entries at most.
--
-- Returns {top, synced, entries, pending receipts}, or nil if there is no such session.

local session = read_session()
if not session then
  redis.call('ZREM', DIRTY, MEMBER)
  return false
end
local entries = redis.call('XRANGE', LOG, digits(session.synced + 1) .. '-0', '+', 'COUNT', ARGV[3])
return {digits(session.top), digits(session.synced), entries, redis.call('HGETALL', PENDING)}
