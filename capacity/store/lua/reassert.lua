#!lua flags=allow-oom
-- A hub that was fenced, or whose store lost data, says who is connected to it and what they had.
-- ARGV[2…]  participant, lease, what they had (seated, held, waiting), their sequence or 0 (order of arrival), the revision at which they
--           joined, for each
-- results   for each: ["seated"] · ["waiting", position, sequence, lost] (lost: 1 if a seat was) · ["held", held_until] · ["replaced"] · ["put_out"]
local reply = enter('registered')
if reply then
    return reply
end
if room.state == 'ended' then
    return answer()
end
local settling = now < room.settling_at

-- Counts a seat given back beyond the limit: the store granted it to somebody else, or would have, had it not lost the first grant.
local function beyond()
    if occupied() > room.seat_limit then
        room.over = room.over + 1
    end
end

-- The store knows of a place in the line, or of a hold, where the lost history had given a hold or a seat.
local function give_back(participant, lease, had, since)
    local waited_on = take(LINE, participant) == 1
    if waited_on then
        take(READY, participant)
        change.moved = true
        if had == 'held' then
            put(HOLDS, now + context.hold_ms, participant)
            changed = true
        end
        beyond()
    end
    if had == 'seated' and (take(HOLDS, participant) == 1 or waited_on) then
        seat(participant, lease, since)
    end
end

local function again(participant, lease, had, sequence, joined_at)
    local met = mark(participant)
    if met == 'x' or met == 'sx' then
        return 'put_out'
    end
    local known = record(participant)
    if known then
        if known.lease and known.lease ~= lease then
            if not settling or joined_at <= room.survived then
                return 'replaced' -- the store knew of both connections, and which was the newer
            end
            table.insert(change.doubted, {participant, known.lease})
        end
        if known.lease ~= lease then
            take(SEAT_AWAY, participant)
            if take(LINE_AWAY, participant) == 1 then
                put(READY, score(LINE, participant), participant)
            end
            write(participant, lease, known.since)
        end
        if settling and had ~= 'waiting' then
            give_back(participant, lease, had, known.since)
        end
        return 'known'
    end
    if had == 'seated' and (settling or (to_give() > 0 and size(READY) == 0)) then
        seat(participant, lease)
        beyond()
        return 'known'
    end
    meet(participant, 'w')
    if had == 'held' and settling then
        write(participant, lease, now)
        put(HOLDS, now + context.hold_ms, participant)
        beyond()
        return 'known'
    end
    if had == 'waiting' and sequence > 0 then
        room.sequence = math.max(room.sequence, sequence)
        line_up(participant, lease, now, sequence)
        change.moved = true
        return 'known'
    end
    line_up(participant, lease, now, math.min(lowest(LINE) or 1, 1) - 1)
    change.moved = true
    return 'lost'
end

read_marks(participants_of(5))
local came = {}
for i = 2, #ARGV, 5 do
    table.insert(came, {ARGV[i], again(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))})
end
return answer(function()
    local results = {}
    for i, pair in ipairs(came) do
        local participant, word = pair[1], pair[2]
        if word == 'known' or word == 'lost' then
            local sequence = score(LINE, participant)
            local held_until = score(HOLDS, participant)
            if sequence then
                results[i] = {'waiting', call('ZRANK', LINE, participant) + 1, sequence, word == 'lost' and 1 or 0}
            elseif held_until then
                results[i] = {'held', on_wall(held_until)}
            else
                results[i] = {'seated'}
            end
        else
            results[i] = {word}
        end
    end
    return results
end, true)
