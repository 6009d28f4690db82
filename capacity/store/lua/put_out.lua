#!lua flags=allow-oom
-- Puts a participant out and keeps them out until the room starts afresh. Twice is once.
-- ARGV[2]   the participant
local reply = enter()
if reply then
    return reply
end
if room.state ~= 'ended' then
    local participant = ARGV[2]
    if record(participant) then
        forget(participant)
        change.put_out = {participant}
    end
    local met = mark(participant)
    if met == 't' then
        tally('turned_away', -1)
    end
    if met == 's' then
        set_mark(participant, 'sx')
        changed = true
    elseif met ~= 'x' and met ~= 'sx' then
        set_mark(participant, 'x')
        room.barred = room.barred + 1
        changed = true
    end
end
return answer()
