-- A sign of life of a worker: register it, or renew its lease.
-- include: leases
-- flags: allow-oom
--
-- ARGV: worker, the encoded beat, its number, lease, whether it is leaving (0 or 1), then for each report its token (the
-- id, 16 bytes, and the number of the claim, 4 bytes) and the progress
-- Answers {registered, draining, id, …}: whether it was known (or this is its first beat), whether it is to drain, and
-- what it is to cancel.

local worker = ARGV[1]
local record = KEYS[1] .. 'worker:' .. worker
local kept = redis.call('HMGET', record, 'beat_at', 'draining')
local known = kept[1] or tonumber(ARGV[3]) <= 1

local ids = {}
for n = 6, #ARGV, 2 do
  ids[#ids + 1] = ARGV[n]:sub(1, 16)
end
local entries = store.load(ids)
for n = 1, #ids do
  leases.note(worker, entries[n], struct.unpack('>I', ARGV[2 * n + 4], 17), ARGV[2 * n + 5])
end

local orders = leases.orders(worker, known, kept[2])
if ARGV[5] == '1' then
  leases.dismiss(worker, false)
  endings.tell()
else
  local fields = store.hash('worker:' .. worker)
  fields.beat, fields.beat_at, fields.lease, fields.suspected_at = ARGV[2], store.now, ARGV[4], false
  store.set('workers')[worker] = true
end
store.despite_full()
store.commit()
return orders
