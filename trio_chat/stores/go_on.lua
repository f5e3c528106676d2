-- In front of append.lua and of what all scripts share: the short way, on which nearly every append ends. It goes on with a
-- dirty session, by events alone. KEYS and ARGV as there.
--
-- It makes no functions: making those of lib.lua takes the server as long as all that is done here.

do
  local call, stop = redis.call, 15 + 2 * tonumber(ARGV[12])
  if stop > 15 and #ARGV == stop and ARGV[stop - 1] == ARGV[5] and call('GET', KEYS[1]) == ARGV[2] then
    local was = call('HMGET', KEYS[2], 'top', 'synced', 'first')
    local synced = was[2] and #was[2] <= 16 and not string.find(was[2], '%D') and tonumber(was[2])
    if was[1] == ARGV[4] and synced and synced < tonumber(ARGV[4]) then
      local clock = call('TIME')
      local time = clock[1] .. string.sub(clock[2] + 1000000, 2, 4)
      -- Dirty before anything else, then the events: if the log does not take them, the long way finds out why.
      call('ZADD', KEYS[7], 'NX', time, ARGV[1] .. ' ' .. ARGV[2])
      local at = 16
      -- An error is a table; false says that there is no log.
      while at < stop and type(redis.pcall('XADD', KEYS[3], 'NOMKSTREAM', ARGV[at] .. '-0', 'e', ARGV[at + 1])) == 'string' do
        at = at + 2
      end
      if at > stop then
        call('HSET', KEYS[2], 'top', ARGV[5], 'first', ARGV[6], 'floor', ARGV[7], 'token', ARGV[8],
          'incarnation', ARGV[9], 'active', time)
        if was[3] ~= ARGV[6] then
          -- Entries go that neither the window nor the archive needs.
          local keep, first = synced + 1, tonumber(ARGV[6])
          if first > 0 and first < keep then
            keep = first
          end
          call('XTRIM', KEYS[3], 'MINID', string.format('%.0f-0', keep))
        end
        return false
      end
    end
  end
end
