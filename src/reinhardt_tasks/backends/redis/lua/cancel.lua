-- Cancel what is not finished: at once where it does not run, by an order to its worker where it does.
-- include: reading, leases
-- flags: allow-oom
--
-- ARGV: the encoded error ('': none), id, id, …
-- Answers the status of each after the step, false where it is unknown; of fewer than asked when that is enough for one
-- call.

local ids, answer = reading.afford({unpack(ARGV, 2)}, 1, 500), {}
local entries = store.load(ids)
store.despite_full()
for n = 1, #ids do
  local entry = entries[n]
  if entry and entry.status == STATUS.RUNNING then
    endings.keep_error(entry, ARGV[1])
    leases.order_cancel(entry)
  elseif entry and not store.finished(entry) then
    endings.finish(entry, STATUS.CANCELLED, ARGV[1])
    endings.tell()
  end
  answer[n] = entry and entry.status
end
store.commit()
return answer
