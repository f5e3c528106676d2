-- quarantine: move entries out of the log into a bounded list, for a person to look at.
--
-- ARGV: 1 room, 2 epoch, 3 how many to keep in the list; then pairs of an entry's id and a line that says why.
--
-- An element of the list is that line and, after a line break, the entry as it was: its fields and values, one a
-- line. Entries that are not in the log are passed over, so a repetition changes nothing.

for i = 4, #ARGV, 2 do
  local found = redis.call('XRANGE', LOG, ARGV[i], ARGV[i])[1]
  if found then
    redis.call('RPUSH', QUARANTINE, ARGV[i + 1] .. '\n' .. table.concat(found[2], '\n'))
    redis.call('XDEL', LOG, ARGV[i])
  end
end
redis.call('LTRIM', QUARANTINE, -tonumber(ARGV[3]), -1)
return false
