-- repair: make a session usable again that strangers or accidents have touched.
--
-- ARGV: 1 room, 2 epoch, 3 ms to keep what is set aside.
--
--   1. A key of the wrong type is set aside: renamed, and kept for a while.
--   2. A room whose current session has no name (or one that is after the year 9999) or no meta has no current session.
--   3. A log without meta is set aside.
--   4. Numbers of meta that are not readable are replaced by ones that lose nothing: everything counts as not
--      archived, the window as reaching back to the first entry. Nobody trusts such a session's tail, nor takes a
--      top that was guessed for the work of the last write.
--
-- Returns the names of the keys that were touched.

local touched = {}
local time = now_ms()

local function set_aside(key)
  local aside = key .. ':aside:' .. digits(time)
  redis.call('RENAME', key, aside)
  redis.call('PEXPIRE', aside, ARGV[3])
  touched[#touched + 1] = key
end

for i, wanted in ipairs({'string', 'hash', 'stream', 'list', 'hash', 'hash', 'zset', 'list'}) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= wanted then
    set_aside(KEYS[i])
  end
end

local current = redis.call('GET', NOW)
if current and not (#current == 36 and string.match(current, '^%x+%-%x+%-7%x+%-%x+%-%x+$') and current < 'e677d21f-dc00') then
  set_aside(NOW)
end

if redis.call('EXISTS', META) == 0 then
  if redis.call('EXISTS', LOG) == 1 then
    set_aside(LOG)
  end
  if current == EPOCH then
    redis.call('DEL', NOW)
    touched[#touched + 1] = NOW
  end
  return touched
end

local fields = redis.call('HMGET', META, 'top', 'synced', 'floor', 'first', 'active')
local top, synced, floor, first, active = whole(fields[1]), whole(fields[2]), whole(fields[3]), whole(fields[4]),
  whole(fields[5])
if top and synced and floor and first and active and synced <= top then
  return touched
end
if not top then
  redis.call('HSET', META, 'token', '')
end
local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
top = top or last and whole(string.match(last[1], '^%d+')) or 0
if not synced or synced > top then
  synced = 0
end
redis.call('HSET', META, 'top', digits(top), 'synced', digits(synced), 'floor', digits(floor or top),
  'first', digits(first or 1), 'active', digits(active or time), 'incarnation', 'repaired')
if is_dirty({top = top, synced = synced}, PENDING) then
  remember_dirty(MEMBER)
  never_expire()
end
touched[#touched + 1] = META
return touched
