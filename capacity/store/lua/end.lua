#!lua flags=allow-oom
-- Ends the room, opened or not. Twice is once.
-- ARGV[2]   the reason: host or api
local reply = enter()
if reply then
    return reply
end
if room.state ~= 'ended' then
    finish(ARGV[2], now)
end
return answer()
