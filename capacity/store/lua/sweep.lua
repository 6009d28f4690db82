#!lua flags=allow-oom
-- Does what is due (lapsed times, a new limit, the next piece of an allotment) and shows the room. Writes nothing if nothing is due.
local reply = enter()
if reply then
    return reply
end
return answer()
