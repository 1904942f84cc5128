-- Some of the registered workers.
--
-- ARGV: their ids
-- Answers a row {beat, beat_at, suspected_at ('': it is not), how many messages it holds} for each, nil when unknown.

local rows = {}
for n = 1, #ARGV do
  local found = redis.call('HMGET', KEYS[1] .. 'worker:' .. ARGV[n], 'beat', 'beat_at', 'suspected_at')
  rows[n] = found[1] and {found[1], found[2], found[3] or '', redis.call('SCARD', KEYS[1] .. 'claims:' .. ARGV[n])}
end
return rows
