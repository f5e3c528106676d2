-- append: compare and append, see HotStore.append. What comes here is what go_on.lua has not done.
--
-- ARGV: 1 room, 2 epoch, 3 the room's part of all key names, 4 expect, 5 top, 6 first, 7 floor, 8 token,
--   9 incarnation, 10 how many ids to remember, 11 ms a clean session lives,
--   12 number of events, 13 of superseded seqs, 14 of ids, 15 of receipts that are carried; then these:
--   seq, entry ...; seq ...; "<seq> <id>" ...; user, receipt ...; and the receipts that changed: user, receipt ...
--
-- Returns nil if it was written; else {epoch or '', top, token} of what stands in the way.

local base, expect, top, first = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local events, superseded, ids, carried = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local events_at = 16
local superseded_at = events_at + 2 * events
local ids_at = superseded_at + superseded
local carried_at = ids_at + ids
local receipts_at = carried_at + 2 * carried

-- 1. What is there? A current session without meta is none, nor is one whose log is gone, or an older one: the
--    writer then brings everything anew.
local current = redis.call('GET', NOW)
local there = current and read_meta(base .. ':meta:' .. current)
local logged = redis.call('XLEN', LOG)
-- The seq that the log has come to, were its entries gone since.
local function logged_upto()
  local info = redis.pcall('XINFO', 'STREAM', LOG)
  for i = 1, info.err and 0 or #info, 2 do
    if info[i] == 'last-generated-id' then
      return tonumber(string.match(info[i + 1], '^%d+'))
    end
  end
  return 0
end
local function has_lost_its_log()
  if there.top > there.synced and events > 0 and expect > 0 then
    return logged == 0 and redis.call('EXISTS', LOG) == 0
  end
  return logged_upto() < there.top
end
if not there or current == EPOCH and has_lost_its_log() then
  current, there = false, nil
end
local opening = current ~= EPOCH

-- 2. Is it what the writer expects? One that opens may find its own session, ended and not yet archived.
local before = there
if opening then
  if expect ~= 0 or (current and current > EPOCH) then
    return {current or '', digits(there and there.top or 0), there and there.token or ''}
  end
  before = read_meta(META)
  if before and before.top > top then
    return {EPOCH, digits(before.top), before.token}
  end
elseif there.top ~= expect then
  return {current, digits(there.top), there.token}
end

-- 3. Can all of it be written?
if ids > 0 then
  redis.call('LLEN', IDS)
end
if #ARGV >= carried_at then
  redis.call('HLEN', READ)
end
local pending = redis.call('HLEN', PENDING)
local was_clean = before and before.top <= before.synced and pending == 0
local leaves_dirty = opening and current and is_dirty(there, base .. ':pending:' .. current)

-- 4. The session becomes current, and dirty before anything else.
local synced = before and before.synced or 0
local time = digits(now_ms())
local dirty = top > synced or pending > 0 or #ARGV >= receipts_at
if dirty then
  remember_dirty(MEMBER, time)
end
redis.call('HSET', META, 'top', digits(top), 'synced', digits(synced), 'first', ARGV[6], 'floor', ARGV[7],
  'token', ARGV[8], 'incarnation', ARGV[9], 'active', time)
if opening then
  redis.call('SET', NOW, EPOCH)
end
if opening and current then
  -- It ends the one that was. A dirty one stays until the archive has it.
  if leaves_dirty then
    remember_dirty(ROOM .. ' ' .. current, time)
  else
    for _, name in ipairs({'meta', 'log', 'keys', 'read', 'pending'}) do
      redis.call('DEL', base .. ':' .. name .. ':' .. current)
    end
  end
end

-- 5. The slow way into a log that holds what was not expected: an ended session opened again, or something a
--    stranger wrote. What belongs there stays, unless an event comes anew; the rest is set aside.
local function merge()
  local upto = opening and top or expect
  local entries, order = {}, {}
  local function put(seq, entry)
    if not entries[seq] then
      order[#order + 1] = seq
    end
    entries[seq] = entry
  end
  for _, found in ipairs(redis.call('XRANGE', LOG, '-', '+')) do
    local seq = whole(string.match(found[1], '^(%d+)%-0$'))
    if seq and seq <= upto and found[2][1] == 'e' and #found[2] == 2 then
      put(seq, found[2][2])
    else
      local header = cjson.encode({epoch = EPOCH, id = found[1], why = 'not an entry of this log'})
      redis.pcall('RPUSH', QUARANTINE, header .. '\n' .. table.concat(found[2], '\n'))
    end
  end
  for i = events_at, superseded_at - 1, 2 do
    put(tonumber(ARGV[i]), ARGV[i + 1])
  end
  table.sort(order)
  redis.call('DEL', LOG)
  for _, seq in ipairs(order) do
    redis.call('XADD', LOG, digits(seq) .. '-0', 'e', entries[seq])
  end
end

-- 6. The events.
if opening and logged > 0 then
  merge()
else
  for i = events_at, superseded_at - 1, 2 do
    local added = redis.pcall('XADD', LOG, ARGV[i] .. '-0', 'e', ARGV[i + 1])
    if type(added) == 'table' and added.err then
      merge()
      break
    end
  end
end
if (events == 0 or tonumber(ARGV[superseded_at - 2]) < top) and logged_upto() < top then
  -- A session has a log that has come to its top, were it an empty one: otherwise somebody took it, see load.
  redis.pcall('XADD', LOG, digits(top) .. '-0', 'e', '')
  redis.pcall('XDEL', LOG, digits(top) .. '-0')
end
for i = superseded_at, ids_at - 1 do
  redis.call('XDEL', LOG, ARGV[i] .. '-0')
end
trim(first, synced)

-- 7. What belongs to the session beside its log.
local remembered = 0
for i = ids_at, carried_at - 1 do
  remembered = redis.call('RPUSH', IDS, ARGV[i])
end
if remembered > tonumber(ARGV[10]) then
  redis.call('LTRIM', IDS, -tonumber(ARGV[10]), -1)
end
for i = carried_at, #ARGV, 2 do
  redis.call('HSET', READ, ARGV[i], ARGV[i + 1])
end
for i = receipts_at, #ARGV, 2 do
  redis.call('HSET', PENDING, ARGV[i], ARGV[i + 1])
end

-- 8. A dirty session never expires; a clean one does, from now on.
if not dirty then
  expire_in(ARGV[11])
elseif opening or was_clean then
  never_expire()
end
return false
