#!lua
-- Connections arrive: each gets a seat or a place, takes its held seat, resumes, or takes over from an older connection.
-- ARGV[2…]  participant, lease (HUB.CONNECTION), for each
-- results   for each: ["seated"] · ["waiting", position, sequence] · ["held", held_until, reason, told] (held in this very call) · ["put_out"]
local reply = enter('registered')
if reply then
    return reply
end

-- Whether somebody connected stands before this place in the line.
local function preceded(sequence)
    local first = call('ZRANGE', READY, 0, 0, 'WITHSCORES')
    return first[2] ~= nil and tonumber(first[2]) < sequence
end

local function arrive(participant, lease)
    local met = call('HGET', MET, participant)
    if met == 'x' or met == 'sx' then
        return 'put_out'
    end
    local known = record(participant)
    if not known then
        if to_give() > 0 and call('ZCARD', READY) == 0 then
            seat(participant, lease)
            return 'seated'
        end
        meet(participant, 'w')
        line_up(participant, lease, now)
        return 'waiting'
    end
    if known.lease and known.lease ~= lease then
        table.insert(change.replaced, {participant, known.lease})
    end
    if call('ZREM', HOLDS, participant) == 1 then
        seat(participant, lease, known.since)
        return 'seated'
    end
    local sequence = tonumber(call('ZSCORE', LINE, participant) or nil)
    if not sequence then
        call('ZREM', SEAT_AWAY, participant)
        write(participant, lease)
        return 'seated'
    end
    call('ZREM', LINE_AWAY, participant)
    if to_give() > 0 and not preceded(sequence) then
        call('ZREM', LINE, participant)
        call('ZREM', READY, participant)
        change.moved = true
        seat(participant, lease, known.since)
        return 'seated'
    end
    write(participant, lease, known.since)
    call('ZADD', READY, sequence, participant)
    return 'waiting'
end

if room.state == 'ended' then
    return answer()
end
local arrived = {}
for i = 2, #ARGV, 2 do
    table.insert(arrived, {ARGV[i], arrive(ARGV[i], ARGV[i + 1])})
end

return answer(function()
    local results = {}
    for i, pair in ipairs(arrived) do
        local participant, word = pair[1], pair[2]
        results[i] = {word}
        if word == 'waiting' then
            local rank = call('ZRANK', LINE, participant)
            if rank then
                results[i][2], results[i][3] = rank + 1, tonumber(call('ZSCORE', LINE, participant))
            elseif call('ZSCORE', HOLDS, participant) then
                local offer = change.offers[#change.offers]
                results[i] = {'held', offer.held_until, offer.reason, offer.told}
            else
                results[i] = {'seated'} -- the same participant came twice in this call, and the later one got the seat
            end
        end
    end
    return results
end, true)
