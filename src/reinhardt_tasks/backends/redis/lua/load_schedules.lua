-- Some of the stored schedules.
--
-- ARGV: the cursor to go on from ('0': the first)
-- Answers {next cursor ('0': that was all), name, spec, paused, version, last due ('': never), name, …}.

local page = redis.call('HSCAN', KEYS[1] .. 'schedules', ARGV[1], 'COUNT', 500)
local answer = {page[1]}
for n = 1, #page[2], 2 do
  local schedule = cmsgpack.unpack(page[2][n + 1])
  answer[#answer + 1] = page[2][n]
  answer[#answer + 1] = schedule[1]
  answer[#answer + 1] = schedule[2]
  answer[#answer + 1] = schedule[3]
  answer[#answer + 1] = schedule[4] and string.format('%.17g', schedule[4]) or ''
end
return answer
