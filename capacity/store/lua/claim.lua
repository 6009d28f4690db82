#!lua
-- Participants take their held seat over the open connection.
-- ARGV[2…]  participant, lease, for each
-- results   for each: "seated" (now or before) · "nothing_held" · "gone" (no longer this connection's)
local reply = enter('registered')
if reply then
    return reply
end
participants_of(2)
local results = {}
for i = 2, #ARGV, 2 do
    local participant, lease = ARGV[i], ARGV[i + 1]
    local known = room.state ~= 'ended' and record(participant)
    local word = 'gone'
    if known and known.lease == lease then
        if take(HOLDS, participant) == 1 then
            seat(participant, lease, known.since)
            word = 'seated'
        elseif score(LINE, participant) then
            word = 'nothing_held'
        else
            word = 'seated'
        end
    end
    table.insert(results, word)
end
return answer(results, true)
