-- Go on bringing back dependents of what was requeued.
-- include: revival
--
-- Answers the ids of those that came back, nil when none were left.

local came = revival.go_on()
if came then
  store.commit()
end
return came
