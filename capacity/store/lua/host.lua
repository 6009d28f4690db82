#!lua
-- Host connections came or went: the hub says how many it has. A host's own seat or place as attendee is given up.
-- ARGV[2]   number of host connections of the hub in the room
-- ARGV[3]   1: open the room if it is not started, 0: do not
-- ARGV[4…]  participants who are hosts now
-- results   {"refusal"} if the room could not be opened
local reply = enter('registered')
if reply then
    return reply
end
if room.state == 'ended' then
    return answer()
end
if call('HGET', HUBS, hub) ~= ARGV[2] then
    call('HSET', HUBS, hub, ARGV[2])
    changed = true
end
for i = 4, #ARGV do
    local known = record(ARGV[i])
    if known then
        if mark(ARGV[i]) == 'w' then
            unmeet(ARGV[i]) -- nobody who is let in as host was turned away
        end
        if known.lease then
            table.insert(change.replaced, {ARGV[i], known.lease})
        end
        forget(ARGV[i])
    end
end
local refusal
if ARGV[3] == '1' and room.state == 'not_started' then
    refusal = begin()
end
return answer({refusal}, true)
