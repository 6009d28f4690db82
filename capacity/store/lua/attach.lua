#!lua
-- A hub may act on the room from now on. A hub that knew the room brings back what the store may have lost of it.
-- ARGV[2]   1: the hub knew the room as open, 0: it did not
-- ARGV[3]   for how long (ms) hubs re-assert who was there before anybody new is let in, if the room had been lost
local reply = enter(false)
if reply then
    return reply
end
if room.state == 'ended' then
    return answer()
end
if ARGV[2] == '1' and room.state == 'not_started' and room.revision == 0 then
    sessions = math.huge
    begin()
    room.settling_at = now + tonumber(ARGV[3])
end
call('HSETNX', HUBS, hub, 0)
if room.state == 'not_started' then
    call('PEXPIRE', HUBS, DAY_MS)
end
return answer()
