-- Put in front of every script of this folder, behind go_on.lua where that comes first.
--
-- A script works on one session. Its keys, always all and in this order:
--   1 now         string       the epoch of the room's current session
--   2 meta        hash         top, synced, floor, first, active (ms by this server's clock), incarnation, token
--   3 log         stream       one entry an event, id <seq>-0, one field "e"
--   4 keys        list         "<seq> <id>" of ids that clients chose, oldest first
--   5 read        hash         user -> receipt
--   6 pending     hash         user -> receipt that the archive lacks
--   7 dirty       sorted set   "<room> <epoch>" of every session that may be dirty, by when it became so
--   8 quarantine  list         entries set aside
-- and its first two arguments are the room and the epoch.
--
-- Rules of all scripts:
--   * Nothing is rolled back when a script fails. So either what can fail comes before the first write, as each
--     key is read by a command of its type and each number is checked; or the script can simply be run again.
--     A spoilt dirty set stops nothing halfway for good: its repair finds all sessions anew.
--   * What they cannot make sense of ends them with an error; the caller runs repair.lua and tries again.
--   * Out of memory, the server refuses a script at its first write, and only if that write may need memory.
--     So go_on.lua and append.lua begin with one that does, and the scripts that free memory with one that does not.

local NOW, META, LOG, IDS, READ, PENDING, DIRTY, QUARANTINE = unpack(KEYS)
local OWN = 6 -- of these keys are the room's and the session's, and live as long
local ROOM, EPOCH = ARGV[1], ARGV[2]
local MEMBER = ROOM .. ' ' .. EPOCH

-- Numbers are kept as decimal digits; Lua's own conversion writes 1e15 as "1e+15".
local function digits(number)
  return string.format('%.0f', number)
end

-- The whole number a text says, or nil. Sixteen digits are still exact.
local function whole(text)
  if text and #text <= 16 and string.match(text, '^%d+$') then
    return tonumber(text)
  end
  return nil
end

-- What a meta key says, or nil if there is none.
local function read_meta(key)
  local fields = redis.call('HMGET', key, 'top', 'synced', 'first', 'token')
  local top, synced, first = whole(fields[1]), whole(fields[2]), whole(fields[3])
  if top and synced and first and synced <= top then
    return {top = top, synced = synced, first = first, token = fields[4] or ''}
  end
  if redis.call('EXISTS', key) == 1 then
    error('BADMETA')
  end
  return nil
end

-- What this session's meta says, or nil if there is no such session. A log without meta needs repair.
local function read_session()
  local meta = read_meta(META)
  if not meta and redis.call('EXISTS', LOG) == 1 then
    error('NOMETA')
  end
  return meta
end

-- Whether the archive lacks something of a session, given its meta and its key of pending receipts.
local function is_dirty(meta, pending)
  return redis.call('HLEN', pending) > 0 or meta.top > meta.synced
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The archive lacks something: the session is in the dirty set, since when it first was.
local function remember_dirty(member, time)
  redis.call('ZADD', DIRTY, 'NX', time or digits(now_ms()), member)
end

-- Entries go that neither the window nor the archive needs.
local function trim(first, synced)
  local keep = synced + 1
  if first > 0 and first < keep then
    keep = first
  end
  redis.call('XTRIM', LOG, 'MINID', digits(keep) .. '-0')
end

-- The safety net of a clean session: it goes by itself if nobody touches it.
local function expire_in(ms)
  for i = 1, OWN do
    redis.call('PEXPIRE', KEYS[i], ms)
  end
end

-- A dirty session has none.
local function never_expire()
  for i = 1, OWN do
    redis.call('PERSIST', KEYS[i])
  end
end

-- The archive has all of it and nobody uses it.
local function remove_session()
  redis.call('DEL', META, LOG, IDS, READ, PENDING)
  redis.call('ZREM', DIRTY, MEMBER)
end
