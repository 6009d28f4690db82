#!lua
-- Opens the room. Twice is once.
-- ARGV[2]   1: an ended room starts afresh (API), 0: it stays ended
-- results   {"refusal"} if it could not be opened
local reply = enter()
if reply then
    return reply
end
local refusal
if room.state == 'not_started' then
    refusal = begin()
elseif room.state == 'ended' and ARGV[2] == '1' then
    room.sequence = 0
    refusal = begin()
end
return answer({refusal})
