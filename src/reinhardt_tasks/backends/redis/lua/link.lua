-- Link a message that is about to be put to some of the many that it waits for. What ends meanwhile, put sees.
-- include: endings
--
-- ARGV: id, parent, parent, …, each once

local id = ARGV[1]
if redis.call('ZMSCORE', KEYS[1] .. 'ids', id)[1] then
  return
end
endings.link(id, {unpack(ARGV, 2)})
endings.write_links()
