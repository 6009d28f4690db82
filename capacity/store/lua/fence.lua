#!lua flags=allow-oom
-- A dead hub may no longer act on the room; its host connections are gone. Its participants are made away by away.lua.
-- ARGV[2]   the dead hub
local reply = enter()
if reply then
    return reply
end
call('HDEL', HUBS, ARGV[2])
call('HDEL', OPERATIONS, ARGV[2], ARGV[2] .. ' ')
return answer()
