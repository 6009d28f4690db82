#!lua flags=allow-oom
-- A hub without connections gives the room up, unless it is the last to watch somebody there or an open room.
-- results   "detached" or "stay"
local reply = enter('ordered')
if reply then
    return reply
end
local word = 'detached'
if room.state ~= 'ended' then
    local last = call('HLEN', HUBS) == call('HEXISTS', HUBS, hub)
    if last and (room.state == 'open' or size(PEOPLE) > 0) then
        word = 'stay'
    else
        call('HDEL', HUBS, hub)
        close_behind('')
    end
end
return answer({word})
