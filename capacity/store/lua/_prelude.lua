-- What every room script shares. A script is this file with the verb's file behind it.
--
-- KEYS    as `keys.room_keys` gives them, the same for every verb: then two channels, the audit's stream if there is one, and the stream
--         of hooks if there is one
-- ARGV[1] the context, JSON: room, hub (who calls, '' for none), operation (number of this call, rising in each hub), wall (ms; absent:
--         the server's clock), server (its run id, absent: unknown), grace_ms place_ms hold_ms idle_ms ended_ms step_ms, near and clear (shares of the seat limit in
--         millionths), verb (with an audit alone), hooks (1 with hooks alone)
-- ARGV[2…] the verb's own
-- Reply   JSON: status (ok, unknown_account, fenced, overtaken, ended), room (a snapshot), hooked (true if something was written to the
--         stream of hooks), and the verb's own
--
-- Each call does first what is due (lapse, sync, allot), then the verb, then settle: allot again, notices, publication. So the
-- invariants hold at the end of every call, whoever made it: occupied ≤ seat limit except after the limit was lowered, and nobody
-- connected waits while a seat is free (except for the pieces of a large allotment, which every following call goes on with).

local ACCOUNT, OPEN, STATE, PEOPLE, LINE, READY, HOLDS, SEAT_AWAY, LINE_AWAY, HUBS, OPERATIONS, MET, REPORT, FEED, ACCOUNT_FEED =
    unpack(KEYS)
local PIECE = 500 -- the most participants that one call holds a seat for, and
local LAPSED_MAX = 100 -- of each set, the most whose time runs out in one call: both keep a script under 5 ms (benchmarks: `script_ms`)
local DAY_MS = 86400000
local PROVISIONAL = {STATE, PEOPLE, LINE, READY, LINE_AWAY, HUBS, OPERATIONS, MET}
local LEVELS = {'near_full', 'full'}
local GENERATION = 1000000000 -- where its revisions and sequences begin: after a loss of data nothing has a number that was lost
local AUDIT_MAX = 1000000
local HOOKS_MAX = 10000 -- of an account, when nobody takes them away
local NAMED_MAX = 100 -- of those who were turned away, the most who are named
local SETTLE_MS = 3000 -- longer than a living hub needs to say who is connected to it

local call = redis.call
local context = cjson.decode(ARGV[1])
local hub = context.hub
local AUDIT = context.verb and KEYS[16]
local HOOKS = context.hooks and KEYS[#KEYS]

local wall = context.wall
if not wall then
    local time = call('TIME')
    wall = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = wall -- the room's own clock, see `read`

local room      -- the fields of STATE, as numbers and strings
local stored    -- the same as they stand there, in the order of FIELDS
local found     -- whether it was ever written
local seats     -- the account's seat limit
local sessions  -- how many rooms the account may have open
local changed = false
local change = {offers = {}, expired = {}, replaced = {}, doubted = {}, put_out = {}}
local raised = false
local piece = PIECE -- how many this call may still be given a seat
local before    -- with an audit: the room as it was
local hook = {}    -- with hooks: what happened that somebody outside wants to know
local gave_up = {} -- with hooks: who left the line without a seat in this call

local sizes = {}     -- set → how many are in it
local texts = {}     -- participant → what PEOPLE has of them, false for nothing, as far as it was read or written in this call
local unwritten = {} -- of those, what is yet to be written
local marks = {}     -- the same of MET
local unmarked = {}
local tallies = {}   -- field of REPORT → what is to be added

local FIELDS = {
    'state', 'seat_limit', 'revision', 'epoch', 'sequence', 'peak', 'told', 'opened_at', 'ended_at', 'ended_reason', 'idle_at',
    'settling_at', 'barred', 'cause', 'cause_told', 'clock', 'wall', 'over',
    'survived', 'past', 'server',
}

-- All that follows, the verb's file included, is one function: what a closure in it takes from above costs a copy of a pointer, and at
-- top level a search. Making these closures was a third of a call.
local function run()

local function number(text)
    return tonumber(text or '0')
end

local function digits(value)
    return string.format('%.0f', value)
end

-- An instant of the room's clock as the server's clock tells it, for whoever is outside.
local function on_wall(instant)
    return instant - now + wall
end

-- ---- the sets: each is counted once a call, and its count kept up by what every change of it returns

local function size(key)
    local known = sizes[key]
    if not known then
        known = call(key == PEOPLE and 'HLEN' or 'ZCARD', key)
        sizes[key] = known
    end
    return known
end

local function put(key, ...) -- score, member, …
    sizes[key] = size(key) + call('ZADD', key, ...)
end

-- Returns how many of the members were there.
local function take(key, ...)
    if size(key) == 0 then
        return 0
    end
    local taken = call('ZREM', key, ...)
    sizes[key] = size(key) - taken
    return taken
end

local function score(key, member)
    return size(key) > 0 and tonumber(call('ZSCORE', key, member) or nil) or nil
end

-- The first member's score, nil for an empty set.
local function lowest(key)
    return size(key) > 0 and tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or nil
end

local function occupied()
    return size(PEOPLE) - size(LINE)
end

local function free()
    return math.max(0, room.seat_limit - occupied())
end

-- Seats that may be given now: none before the room is open, and none to newcomers while hubs still re-assert who was there.
local function to_give()
    if room.state ~= 'open' or now < room.settling_at then
        return 0
    end
    return free()
end

-- When something will be due: a lapse, the end of the room for idleness, or of the time in which nobody new is let in.
local function due_at()
    local first
    for _, key in ipairs({SEAT_AWAY, LINE_AWAY, HOLDS}) do
        local next_at = lowest(key)
        first = next_at and math.min(next_at, first or next_at) or first
    end
    for _, instant in ipairs({room.idle_at, room.settling_at}) do
        if instant > now then
            first = math.min(instant, first or instant)
        end
    end
    return first
end

local function snapshot(due)
    local people, line, held, away = size(PEOPLE), size(LINE), size(HOLDS), size(SEAT_AWAY)
    return {
        epoch = room.epoch, revision = room.revision, at = now, state = room.state, seat_limit = room.seat_limit,
        seated = people - line - held - away, away = away, held = held, waiting = line, peak = room.peak, told = room.told,
        ended_reason = room.ended_reason, more = room.cause ~= nil and now >= room.settling_at or nil, due_at = due,
        over = room.over > 0 and room.over or nil,
    }
end

-- ---- a participant's record

-- What the hash has of a participant, false for nothing; `known` is what was read or written of it in this call.
local function look_up(key, known, participant)
    local value = known[participant]
    if value == nil then
        value = call('HGET', key, participant)
        known[participant] = value
    end
    return value
end

-- The same of many, read at once. What this call changed already is not written yet, and stays known.
local function look_up_all(key, known, participants)
    if #participants > 0 then
        local values = call('HMGET', key, unpack(participants))
        for i, participant in ipairs(participants) do
            if known[participant] == nil then
                known[participant] = values[i]
            end
        end
    end
end

local function text_of(participant)
    return look_up(PEOPLE, texts, participant)
end

local function mark(participant)
    return look_up(MET, marks, participant)
end

-- Returns every `step`th argument from ARGV[2] on: participants, of whom what `record` will be asked for is read at once.
local function participants_of(step)
    local participants = {}
    for i = 2, #ARGV, step do
        participants[#participants + 1] = ARGV[i]
    end
    look_up_all(PEOPLE, texts, participants)
    return participants
end

-- The same for `mark`.
local function read_marks(participants)
    look_up_all(MET, marks, participants)
end

local function set_mark(participant, met)
    marks[participant], unmarked[participant] = met, met
end

local function tally(field, by)
    tallies[field] = (tallies[field] or 0) + by
end

local function write_all(key, pending)
    if next(pending) then
        local pairs_of = {}
        for field, value in pairs(pending) do
            pairs_of[#pairs_of + 1] = field
            pairs_of[#pairs_of + 1] = value
        end
        call('HSET', key, unpack(pairs_of))
    end
end

-- Writes what is yet to be written: at the end of the call, and before anything else looks at the keys themselves.
local function flush()
    write_all(PEOPLE, unwritten)
    write_all(MET, unmarked)
    for field, by in pairs(tallies) do
        call('HINCRBY', REPORT, field, by)
    end
    unwritten, unmarked, tallies = {}, {}, {}
end

-- lease (nil while away), until when the place is kept while away (0 for a seat), since when they wait
local function record(participant)
    local text = text_of(participant)
    if not text then
        return nil
    end
    local lease, since = string.match(text, '^([^@]*)@?(%d*)$')
    local away = string.sub(lease, 1, 1) == '-'
    return {
        lease = not away and lease or nil,
        place_until = away and number(lease ~= '-' and string.sub(lease, 2) or nil) or 0,
        since = tonumber(since),
    }
end

local function write(participant, lease, since)
    local people = size(PEOPLE)
    if not text_of(participant) then
        sizes[PEOPLE] = people + 1
    end
    local text = since and (lease .. '@' .. digits(since)) or lease
    texts[participant], unwritten[participant] = text, text
    changed = true
end

-- ---- the report

local function waited(since)
    local seconds = math.floor(math.max(0, now - math.max(since, room.opened_at)) / 1000)
    if seconds > 600 then -- exact to a second for ten minutes, to ten seconds for longer
        seconds = math.min(seconds - seconds % 10, 86400)
    end
    tally('waited', 1)
    tally('w:' .. seconds, 1)
end

local function meet(participant, first)
    local met = mark(participant)
    if met == 't' then
        tally('turned_away', -1)
    end
    if first == 's' and met ~= 's' then
        tally('joined', 1)
        set_mark(participant, 's')
    elseif first == 'w' and met ~= 's' then
        set_mark(participant, 'w')
    end
end

local function unmeet(participant)
    unmarked[participant], marks[participant] = nil, false
    call('HDEL', MET, participant)
end

-- Left the line without a seat. Before the doors open nobody is turned away.
local function give_up(participant)
    if mark(participant) ~= 'w' then
        return
    end
    if room.state == 'open' then
        set_mark(participant, 't')
        tally('turned_away', 1)
        if HOOKS then
            table.insert(gave_up, participant)
        end
    else
        unmeet(participant)
    end
end

-- ---- moves

local function seat(participant, lease, since)
    write(participant, lease)
    if since then
        waited(since)
    end
    meet(participant, 's')
end

local function line_up(participant, lease, since, sequence)
    if not sequence then
        room.sequence = room.sequence + 1
        sequence = room.sequence
    end
    put(LINE, sequence, participant)
    if lease then
        write(participant, lease, since)
        put(READY, sequence, participant)
    end
    changed = true
end

-- Out of the room, wherever they stood in it.
local function forget(participant)
    local people = size(PEOPLE)
    if text_of(participant) then
        sizes[PEOPLE] = people - 1
    end
    texts[participant], unwritten[participant] = false, nil
    call('HDEL', PEOPLE, participant)
    take(SEAT_AWAY, participant)
    local waiting = take(LINE, participant)
    if waiting == 1 then
        take(READY, participant)
        take(LINE_AWAY, participant)
        change.moved = true
    end
    local held = take(HOLDS, participant)
    if waiting + held > 0 then
        give_up(participant)
    end
    changed = true
end

-- ---- hooks: what happened, for whoever sends it on (capacity/store/outbox.py)

local function turned_away(reason, count, participants)
    if count > 0 then
        hook.turned_away = hook.turned_away or {}
        table.insert(hook.turned_away, {reason = reason, count = count, participants = participants})
    end
end

-- Of those who gave up in this call, who has not come back or been put out in it.
local function left_without_seat()
    local count, named = 0, {}
    for _, participant in ipairs(gave_up) do
        if mark(participant) == 't' then
            count = count + 1
            named[#named + 1] = count <= NAMED_MAX and participant or nil
        end
    end
    gave_up = {}
    turned_away('left', count, named)
end

-- The first of those who wait for the first time, those with a held seat before the line.
local function first_hoping()
    local found, named = {}, {}
    for _, key in ipairs({HOLDS, LINE}) do
        for _, participant in ipairs(size(key) > 0 and call('ZRANGE', key, 0, NAMED_MAX - 1) or {}) do
            found[#found + 1] = participant
        end
    end
    look_up_all(MET, marks, found)
    for _, participant in ipairs(found) do
        named[#named + 1] = #named < NAMED_MAX and mark(participant) == 'w' and participant or nil
    end
    return next(named) and named -- cjson writes an empty table as an object
end

-- Writes what happened, and that it was written.
local function write_hook()
    hook.room, hook.epoch, hook.revision, hook.at, hook.near = context.room, room.epoch, room.revision, wall, change.near
    call('XADD', HOOKS, 'MAXLEN', '~', HOOKS_MAX, '*', 'entry', cjson.encode(hook))
    call('PEXPIRE', HOOKS, 7 * DAY_MS)
end

local function finish(reason, at)
    flush()
    local report
    if HOOKS then
        left_without_seat()
    end
    if room.opened_at > 0 then
        local counts = call('HMGET', REPORT, 'joined', 'turned_away')
        local hoping = call('HLEN', MET) - number(counts[1]) - number(counts[2]) - room.barred
        call('HINCRBY', REPORT, 'turned_away', hoping)
        call('HSET', REPORT, 'ended_at', digits(on_wall(at)), 'peak', room.peak)
        call('PEXPIRE', REPORT, 30 * DAY_MS)
        if HOOKS then
            turned_away('ended', hoping, hoping > 0 and first_hoping() or nil)
            report = table.concat(call('HGETALL', REPORT), ' ') -- one string: as a list of thousands it took half the call
        end
    end
    hook.ended = HOOKS and {reason = reason, at = on_wall(at), report = report} or nil
    call('ZREM', OPEN, context.room)
    call('UNLINK', PEOPLE, LINE, READY, HOLDS, SEAT_AWAY, LINE_AWAY, HUBS, OPERATIONS, MET)
    sizes, texts, marks = {}, {}, {}
    room.state, room.ended_at, room.ended_reason = 'ended', at, reason
    room.told, room.idle_at, room.cause, room.cause_told, room.settling_at, room.barred = 0, 0, nil, nil, 0, 0
    room.over, room.past, room.survived = 0, nil, 0
    change.ended = reason
    changed = true
end

-- Refuses with a reason, or opens and returns nil.
local function begin()
    local others = call('ZCOUNT', OPEN, '(' .. digits(wall), '+inf')
    if call('ZSCORE', OPEN, context.room) then
        others = others - 1
    end
    if others >= sessions then
        return 'concurrent_sessions_reached'
    end
    call('DEL', REPORT)
    tallies = {}
    room.state, room.opened_at, room.ended_at, room.ended_reason = 'open', now, 0, nil
    room.seat_limit, room.peak, room.told, room.idle_at = seats, 0, 0, 0
    call('HSET', REPORT, 'opened_at', digits(wall))
    call('ZADD', OPEN, '+inf', context.room)
    for _, key in ipairs(PROVISIONAL) do
        call('PERSIST', key)
    end
    room.cause, room.cause_told = 'room_opened', math.min(to_give(), size(READY))
    change.opened = true
    changed = true
end

-- ---- what is due at every call

local function due(key)
    return size(key) == 0 and {} or call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, LAPSED_MAX)
end

local function lapse()
    if room.state == 'ended' then
        return
    end
    for _, participant in ipairs(due(SEAT_AWAY)) do
        forget(participant)
    end
    for _, participant in ipairs(due(LINE_AWAY)) do
        forget(participant)
    end
    for _, participant in ipairs(due(HOLDS)) do
        local known = record(participant)
        if known.lease or known.place_until > now then
            take(HOLDS, participant)
            line_up(participant)
            if known.lease then
                put(READY, room.sequence, participant)
                table.insert(change.expired, participant)
            else
                put(LINE_AWAY, known.place_until, participant)
            end
        else
            forget(participant)
        end
    end
    if room.state == 'open' and room.idle_at > 0 and room.idle_at <= now then
        finish('idle', room.idle_at)
    end
end

-- The account's limit is the room's; a room learns of a change at its next call, which the plan change itself makes.
local function sync()
    if room.state == 'ended' or room.seat_limit == seats then
        return
    end
    change.previous = room.seat_limit
    raised = seats > room.seat_limit
    room.seat_limit = seats
    if room.state == 'open' then
        tally('limit_changes', 1)
        if raised then
            room.cause, room.cause_told = 'seat_limit_raised', math.min(to_give(), size(READY))
            hook.raised = HOOKS and {
                previous = change.previous, seat_limit = seats, told = room.cause_told,
                occupied = occupied() + room.cause_told, waiting = size(LINE) - room.cause_told,
            } or nil
        end
    end
    changed = true
end

-- A seat for each of the first in line who are connected, at most PIECE a call; what is left over is remembered with its cause.
local function allot()
    local due_now = math.min(to_give(), size(READY))
    if due_now > 0 and piece == 0 then
        return
    elseif due_now == 0 then
        if room.cause and now >= room.settling_at then
            room.cause, room.cause_told = nil, nil
            changed = true
        end
        return
    end
    local told = math.max(room.cause_told or 0, due_now)
    local offer = {
        reason = room.cause or 'seat_freed', told = told,
        held_until = on_wall(now + context.hold_ms), participants = {},
    }
    local popped = call('ZPOPMIN', READY, math.min(due_now, piece))
    sizes[READY] = size(READY) - #popped / 2
    local holds = {}
    for i = 1, #popped, 2 do
        table.insert(offer.participants, popped[i])
        table.insert(holds, now + context.hold_ms)
        table.insert(holds, popped[i])
    end
    take(LINE, unpack(offer.participants))
    put(HOLDS, unpack(holds))
    table.insert(change.offers, offer)
    piece = piece - #offer.participants
    if #offer.participants < due_now then
        room.cause, room.cause_told = offer.reason, told
    else
        room.cause, room.cause_told = nil, nil
    end
    change.moved = true
    changed = true
end

-- ---- near full: told once per crossing, of the room as it will be when the allotment under way is done

local function ceil_share(millionths)
    return math.floor((millionths * room.seat_limit + 999999) / 1000000)
end

local function notice()
    if room.state ~= 'open' then
        return
    end
    local coming = math.min(to_give(), size(READY))
    local taken, waiting = occupied() + coming, size(LINE) - coming
    local level = 0
    if taken >= room.seat_limit then
        level = (room.seat_limit > 0 or waiting > 0) and 2 or 0
    elseif taken >= math.max(1, ceil_share(context.near)) then
        level = 1
    end
    local tell = level > room.told
    if raised and room.told > 0 then
        tell = level > 0
        change.cleared = level == 0 or nil
        room.told = level
    elseif tell then
        room.told = level
    elseif room.told > 0 and taken < ceil_share(context.clear) then
        change.cleared = true
        room.told = 0
    end
    if tell then
        change.near = {level = LEVELS[level], occupied = taken, waiting = waiting, seat_limit = room.seat_limit}
    end
    if tell or change.cleared then
        changed = true
    end
end

-- ---- the frame of every call

local function read()
    stored = call('HMGET', STATE, unpack(FIELDS))
    local fields = stored
    found = fields[1]
    room = {
        state = found or 'not_started', seat_limit = found and number(fields[2]) or seats, revision = number(fields[3]),
        epoch = fields[4] or '1:' .. hub .. '.' .. digits(context.operation), sequence = number(fields[5]), peak = number(fields[6]), told = number(fields[7]),
        opened_at = number(fields[8]), ended_at = number(fields[9]), ended_reason = fields[10] or nil, idle_at = number(fields[11]),
        settling_at = number(fields[12]), barred = number(fields[13]), cause = fields[14] or nil,
        cause_told = tonumber(fields[15] or nil), clock = number(fields[16]), wall = number(fields[17]), over = number(fields[18]),
        survived = number(fields[19]), past = fields[20] or nil,
        server = fields[21] or nil,
    }
    -- The server's clock may step. While something runs (a grace, a place, a hold), the room's goes on from where it was, never backwards,
    -- and at most step_ms from one call to the next; hubs call once a second. So a step frees no seat, and delays no end of one.
    if room.wall > 0 then
        now = room.clock + math.min(math.max(wall - room.wall, 0), context.step_ms)
    end
end

-- Keeps the time of this call while something runs; else the server's clock is taken at the next.
local function wind(running)
    local before = room.wall
    room.clock, room.wall = now, running and wall or 0
    if not running then
        room.settling_at = 0 -- it is over, and must not begin again when the server's clock steps back
    end
    if not changed and room.wall ~= before then
        call('HSET', STATE, 'clock', digits(room.clock), 'wall', digits(room.wall), 'settling_at', digits(room.settling_at))
    end
end

local function generation(epoch)
    return number(string.match(epoch, '^(%d+):'))
end

-- Writes those fields that are others now.
local function save()
    local text, gone = {}, {}
    for i, field in ipairs(FIELDS) do
        local value = room[field]
        if type(value) == 'number' then
            value = digits(value)
        end
        if value == nil then
            gone[#gone + 1] = stored[i] and field or nil
        elseif value ~= stored[i] then
            text[#text + 1] = field
            text[#text + 1] = value
        end
    end
    call('HSET', STATE, unpack(text)) -- the revision at least
    if #gone > 0 then
        call('HDEL', STATE, unpack(gone))
    end
end

-- The room may have lost what was written last: from now on it is another history, and for a while nobody new is let in. `known` is a
-- later generation that somebody heard of, or 0.
local function begin_generation(known)
    local new = math.max(known, generation(room.epoch)) + 1
    if not room.past then
        room.past, room.survived = room.epoch, room.revision
    end
    room.epoch = digits(new) .. ':' .. hub .. '.' .. digits(context.operation)
    room.revision, room.sequence = new * GENERATION, new * GENERATION
    if room.state == 'open' then
        room.settling_at = now + SETTLE_MS
    end
    changed = true
end

-- Whoever comes first after the store's server changed begins a generation: the hubs that know better may come later.
local function meet_server()
    local server = context.server
    if room.state == 'open' and now >= room.settling_at then
        room.past, room.survived = nil, 0
    end
    if server and server ~= room.server then
        if room.server and room.state ~= 'ended' then
            begin_generation(0)
        end
        room.server = server
        if found then
            call('HSET', STATE, 'server', server)
        end
    end
end

-- Returns a reply if the call ends here: an unknown account, a hub that may not act, an answer given before.
-- `order`    nil: anybody's call
--            ordered: a hub's, refused if a later one of the same hub was done; it lay somewhere on its way (in the socket of a frozen
--            server, behind a cut cable), its hub gave it up, and who joined by it may have left since
--            registered: that too, a repetition gets the same answer, and the hub must be one of the room's, for whose connections it acts
local function enter(order)
    local account = call('HMGET', ACCOUNT, 'seats', 'sessions')
    if not account[1] then
        return cjson.encode({status = 'unknown_account'})
    end
    seats, sessions = tonumber(account[1]), tonumber(account[2] or '1')
    read()
    if order then
        local last = number(string.match(call('HGET', OPERATIONS, hub) or '', '^%d+'))
        if last > context.operation then
            return cjson.encode({status = 'overtaken'})
        elseif order == 'registered' and last == context.operation then
            return call('HGET', OPERATIONS, hub .. ' ')
        elseif order == 'registered' and room.state ~= 'ended' and call('HEXISTS', HUBS, hub) == 0 then
            return cjson.encode({status = 'fenced'})
        end
    end
    if AUDIT then
        before = snapshot(due_at())
    end
    meet_server()
    lapse()
    sync()
    allot()
end

local function empty()
    if size(PEOPLE) > 0 then
        return false
    end
    for _, hosts in ipairs(call('HVALS', HUBS)) do
        if number(hosts) > 0 then
            return false
        end
    end
    return true
end

local function settle()
    allot()
    notice()
    flush()
    if room.state == 'open' then
        local seated = occupied() - size(HOLDS) - size(SEAT_AWAY)
        if seated > room.peak then
            room.peak = seated
            changed = true
        end
        local idle = empty()
        if idle and room.idle_at == 0 then
            room.idle_at = now + context.idle_ms
            call('ZADD', OPEN, digits(on_wall(room.idle_at)), context.room)
            changed = true
        elseif not idle and room.idle_at > 0 then
            room.idle_at = 0
            call('ZADD', OPEN, '+inf', context.room)
            changed = true
        end
    end
    room.over = math.min(room.over, math.max(0, occupied() - room.seat_limit))
    local stale = room.state == 'not_started' and not changed and size(PEOPLE) > 0 and call('PTTL', STATE) < DAY_MS - 3600000
    local due = due_at()
    wind(due ~= nil)
    if changed then
        room.revision = room.revision + 1
        save()
    end
    if room.state == 'ended' and changed then
        call('PEXPIRE', STATE, context.ended_ms)
    elseif room.state == 'not_started' and (changed or stale) then
        for _, key in ipairs(PROVISIONAL) do
            call('PEXPIRE', key, DAY_MS)
        end
    end
    local shown = snapshot(due)
    if HOOKS and changed then
        left_without_seat()
        if change.near or next(hook) then
            write_hook()
        end
    end
    if changed then
        local message = {}
        for field, value in pairs(shown) do
            message[field] = value
        end
        for field, value in pairs(change) do
            if type(value) ~= 'table' or next(value) then -- cjson writes an empty table as an object
                message[field] = value
            end
        end
        call('SPUBLISH', FEED, cjson.encode(message))
        if change.near or change.cleared then
            call('SPUBLISH', ACCOUNT_FEED, cjson.encode({
                near = change.near, cleared = change.cleared, room = context.room,
                occupied = shown.seated + shown.away + shown.held, seat_limit_there = room.seat_limit,
            }))
        end
    end
    return shown
end

-- From now on no earlier operation of this hub is done here. `text` is the answer, for a repetition.
local function close_behind(text)
    call('HSET', OPERATIONS, hub, digits(context.operation), hub .. ' ', text)
    if room.state == 'not_started' then
        call('PEXPIRE', OPERATIONS, DAY_MS)
    end
end

-- What a call did, for whoever checks it afterwards (docs/guarantees.md).
local function write_down(reply)
    local entry = {
        verb = context.verb, hub = hub, operation = context.operation, now = now, wall = wall, seats = seats, before = before,
        after = reply.room, results = reply.results, grace_ms = context.grace_ms, place_ms = context.place_ms,
        hold_ms = context.hold_ms, idle_ms = context.idle_ms, server = context.server,
    }
    if #ARGV > 1 then
        entry.arguments = {unpack(ARGV, 2)}
    end
    for field, value in pairs(change) do
        if type(value) ~= 'table' or next(value) then
            entry[field] = value
        end
    end
    call('XADD', AUDIT, 'MAXLEN', '~', AUDIT_MAX, '*', 'entry', cjson.encode(entry))
    call('PEXPIRE', AUDIT, 7 * DAY_MS)
end

-- Settles and returns the reply. `results` is the verb's own, a function of the settled room or a list; an answer to a
-- registered hub is kept until its next operation, so that a repetition gets the same.
local function answer(results, registered)
    local reply = {status = room.state == 'ended' and 'ended' or 'ok', room = settle()}
    if type(results) == 'function' then
        results = results()
    end
    if results and next(results) then
        reply.results = results
    end
    reply.hooked = hook.room and true
    if AUDIT and changed then
        write_down(reply)
    end
    local text = cjson.encode(reply)
    if registered and room.state ~= 'ended' then
        close_behind(text)
    end
    return text
end
