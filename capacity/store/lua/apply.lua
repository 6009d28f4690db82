#!lua
-- Applies a plan-changed event to its account. The rooms follow at their next call; the feed tells the hubs to make it.
-- An entry that is delivered again gets the verdict that it got: its hub may have died before it could say so.
-- KEYS[1]   the account   KEYS[2] the event's id, remembered for 7 days   KEYS[3] the account's channel
-- ARGV[1]   plan   ARGV[2] seats   ARGV[3] concurrent sessions or ''   ARGV[4] version or ''   ARGV[5] time in ms
-- ARGV[6]   entry id in the stream   ARGV[7] what the billing desk wrote beside the event, '' for an event from elsewhere;
--           'released': from now on the account is not the desk's
-- Reply     applied · duplicate · stale · managed_by_desk
local WEEK_MS = 604800000
local call = redis.call
local plan, seats, sessions, version, time, entry, desk = unpack(ARGV)

-- Whether one stream entry id stands before another.
local function before(left, right)
    local left_ms, left_seq = string.match(left, '^(%d+)-(%d+)$')
    local right_ms, right_seq = string.match(right, '^(%d+)-(%d+)$')
    if not left_ms or not right_ms then
        return false
    end
    if left_ms ~= right_ms then
        return tonumber(left_ms) < tonumber(right_ms)
    end
    return tonumber(left_seq) < tonumber(right_seq)
end

local known = call('HMGET', KEYS[1], 'seats', 'sessions', 'version', 'time', 'entry', 'source', 'desk_version', 'released')
local remembered = call('GET', KEYS[2])
if remembered then
    local verdict, of = string.match(remembered, '^(%a+) (.+)$') -- a release before this one kept the verdict alone
    if of == entry then
        return verdict
    end
end
local source = desk ~= '' and 'desk' or 'events'
if known[6] == 'desk' and source ~= 'desk' then
    return 'managed_by_desk'
end
if remembered then
    return 'duplicate'
end
local stale = false
if source == 'desk' then -- it has a count of its own, which outlives its hold on the account; what others counted says nothing
    local last = math.max(tonumber(known[7] or '0'), known[6] == 'desk' and tonumber(known[3] or '0') or 0)
    stale = version ~= '' and tonumber(version) <= last
elseif known[8] and before(entry, known[8]) then -- it came before the desk let the account go
    stale = true
elseif known[1] then
    if version ~= '' then
        stale = known[3] and tonumber(version) <= tonumber(known[3]) or false
    else
        stale = tonumber(time) < tonumber(known[4]) or (tonumber(time) == tonumber(known[4]) and before(entry, known[5]))
    end
end
if stale then
    call('SET', KEYS[2], 'stale ' .. entry, 'PX', WEEK_MS)
    return 'stale'
end
if source == 'desk' and known[6] ~= 'desk' then
    call('HDEL', KEYS[1], 'version')
elseif known[4] and tonumber(known[4]) > tonumber(time) then
    time = known[4]
end
call('HSET', KEYS[1], 'plan', plan, 'seats', seats, 'time', time, 'entry', entry, 'source', source,
    'sessions', sessions ~= '' and sessions or known[2] or '1')
if version ~= '' then
    call('HSET', KEYS[1], 'version', version)
end
if source == 'desk' then
    call('HSET', KEYS[1], 'desk', desk)
    if version ~= '' then
        call('HSET', KEYS[1], 'desk_version', version)
    end
else
    call('HDEL', KEYS[1], 'desk')
end
if desk == 'released' then -- whoever publishes from now on has a count of their own
    call('HSET', KEYS[1], 'source', 'events', 'released', entry)
    call('HDEL', KEYS[1], 'desk', 'version')
end
call('SET', KEYS[2], 'applied ' .. entry, 'PX', WEEK_MS)
local fields, pairs_of = {}, call('HGETALL', KEYS[1])
for index = 1, #pairs_of, 2 do
    fields[pairs_of[index]] = pairs_of[index + 1]
end
call('SPUBLISH', KEYS[3], cjson.encode({plan = plan, seat_limit = tonumber(seats), account = fields}))
return 'applied'
