-- end: the session is no longer current, see HotStore.end.
--
-- ARGV: 1 room, 2 epoch, 3 top, 4 ms since the last append.
--
-- Returns 1 if the session is over now, 0 if it goes on.

if redis.call('GET', NOW) ~= EPOCH then
  return 1
end
local session = read_session()
if not session then
  redis.call('DEL', NOW)
  return 1
end
local active = whole(redis.call('HGET', META, 'active')) or 0
if session.top ~= tonumber(ARGV[3]) or now_ms() - active < tonumber(ARGV[4]) then
  return 0
end
local dirty = is_dirty(session, PENDING)

redis.call('DEL', NOW)
if dirty then
  remember_dirty(MEMBER)
else
  remove_session()
end
return 1
