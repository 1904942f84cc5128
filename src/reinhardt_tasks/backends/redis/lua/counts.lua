-- How many messages stand where, for some of the queues.
--
-- ARGV: the cursor to go on from ('0': the first)
-- Answers {next cursor ('0': that was all), status digit .. queue, number, how many of the queue could start now, …}.

local page = redis.call('HSCAN', KEYS[1] .. 'counts', ARGV[1], 'COUNT', 2000)
local answer, ready = {page[1]}, {}
for n = 1, #page[2], 2 do
  local queue = page[2][n]:sub(2)
  if not ready[queue] then
    ready[queue] = redis.call('ZCARD', KEYS[1] .. 'ready:' .. queue)
      + redis.call('ZCARD', KEYS[1] .. 'suspects:' .. queue)
  end
  answer[#answer + 1] = page[2][n]
  answer[#answer + 1] = page[2][n + 1]
  answer[#answer + 1] = ready[queue]
end
return answer
