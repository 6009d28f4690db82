#!lua flags=allow-oom
-- Connections were lost: seat, held seat or place are kept for their time. A lease that is no longer theirs changes nothing.
-- ARGV[2…]  participant, lease, for each; the leases may be those of a dead hub
-- results   for each: "away" or "gone"
local reply = enter('registered')
if reply then
    return reply
end
local place_until = now + context.place_ms
participants_of(2)
local results = {}
for i = 2, #ARGV, 2 do
    local participant = ARGV[i]
    local known = room.state ~= 'ended' and record(participant)
    if known and known.lease == ARGV[i + 1] then
        if take(READY, participant) == 1 then
            put(LINE_AWAY, place_until, participant)
            write(participant, '-' .. digits(place_until), known.since)
        elseif score(HOLDS, participant) then
            write(participant, '-' .. digits(place_until), known.since)
        else
            put(SEAT_AWAY, now + context.grace_ms, participant)
            write(participant, '-')
        end
        table.insert(results, 'away')
    else
        table.insert(results, 'gone')
    end
end
return answer(results, true)
