-- An operator's guarded move of an unfinished message to a status.
-- include: store, line, endings, leases
-- flags: allow-oom
--
-- ARGV: id, the status it is thought to be in, the new status, the result or error that goes with it ('': none)
-- Answers the status it was in, nil when it is unknown; nothing was done unless that is the one it was thought to be in.

local was, status, payload = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local entry = store.load({ARGV[1]})[1]
if not entry or entry.status ~= was then
  return entry and entry.status
end
assert(not store.finished(entry) and status ~= STATUS.RUNNING and store.may(was, status), 'illegal transition')
store.despite_full()
if was == STATUS.RUNNING then
  leases.let_go(entry)
end
if status >= STATUS.SUCCESS then
  endings.finish(entry, status, payload)
  endings.tell()
else
  -- It runs again: in its old place (PENDING) or in a new one (RETRY).
  entry.worker = ''
  store.unmark(entry, MARK.CANCELLING)
  if status == STATUS.RETRY then
    endings.keep_error(entry, payload)
    entry.place = 0
  end
  store.become(entry, status)
  line.up(entry)
end
store.commit()
return was
