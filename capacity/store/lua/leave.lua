#!lua flags=allow-oom
-- Participants give up their seat or place at once. A lease that is no longer theirs frees nothing.
-- ARGV[2…]  participant, lease, for each
-- results   for each: "left" or "gone"
local reply = enter('registered')
if reply then
    return reply
end
participants_of(2)
local results = {}
for i = 2, #ARGV, 2 do
    local known = room.state ~= 'ended' and record(ARGV[i])
    if known and known.lease == ARGV[i + 1] then
        forget(ARGV[i])
        table.insert(results, 'left')
    else
        table.insert(results, 'gone')
    end
end
return answer(results, true)
