#!lua
-- Connections arrive: each gets a seat or a place, takes its held seat, resumes, or takes over from an older connection.
-- ARGV[2…]  participant, lease (HUB.CONNECTION), for each
-- results   for each: ["seated"] · ["waiting", position, sequence] · ["held", held_until, reason, told] (held in this very call) · ["put_out"]
local reply = enter('registered')
if reply then
    return reply
end

local lined = {} -- sequence, participant, … of newcomers who are to stand at the end of the line, and do not yet

local function stand()
    if #lined > 0 then
        put(LINE, unpack(lined))
        put(READY, unpack(lined))
        lined = {}
    end
end

-- Returns the word, and for a newcomer in line their position and sequence.
local function arrive(participant, lease)
    local met = mark(participant)
    if met == 'x' or met == 'sx' then
        return 'put_out'
    end
    local known = record(participant)
    if not known then
        if #lined == 0 and to_give() > 0 and size(READY) == 0 then
            seat(participant, lease)
            return 'seated'
        end
        meet(participant, 'w')
        write(participant, lease, now)
        room.sequence = room.sequence + 1
        lined[#lined + 1] = room.sequence
        lined[#lined + 1] = participant
        return 'waiting', size(LINE) + #lined / 2, room.sequence
    end
    stand()
    if known.lease and known.lease ~= lease then
        table.insert(change.replaced, {participant, known.lease})
    end
    if take(HOLDS, participant) == 1 then
        seat(participant, lease, known.since)
        return 'seated'
    end
    local sequence = score(LINE, participant)
    if not sequence then
        take(SEAT_AWAY, participant)
        write(participant, lease)
        return 'seated'
    end
    take(LINE_AWAY, participant)
    if to_give() > 0 and sequence <= (lowest(READY) or sequence) then -- nobody connected stands before them
        take(LINE, participant)
        take(READY, participant)
        change.moved = true
        seat(participant, lease, known.since)
        return 'seated'
    end
    write(participant, lease, known.since)
    put(READY, sequence, participant)
    return 'waiting'
end

if room.state == 'ended' then
    return answer()
end
local participants = participants_of(2)
read_marks(participants)
local results = {}
for i, participant in ipairs(participants) do
    results[i] = {arrive(participant, ARGV[2 * i + 1])}
end
stand()

return answer(function()
    for i, participant in ipairs(participants) do
        local result = results[i]
        if result[1] == 'waiting' and (change.moved or not result[2]) then
            local sequence = score(LINE, participant)
            if sequence then
                results[i] = {'waiting', call('ZRANK', LINE, participant) + 1, sequence}
            elseif score(HOLDS, participant) then
                local offer = change.offers[#change.offers]
                results[i] = {'held', offer.held_until, offer.reason, offer.told}
            else
                results[i] = {'seated'} -- the same participant came twice in this call, and the later one got the seat
            end
        end
    end
    return results
end, true)
