#!lua flags=no-writes
-- Where participants stand, as it is; nothing that is due is done.
-- ARGV[2…]  participants
-- results   for each: {state, position or held_until or 0, lease or ""}; state: seated, away, waiting, held, put_out, absent
seats = tonumber(call('HGET', ACCOUNT, 'seats') or nil)
if not seats then
    return cjson.encode({status = 'unknown_account'})
end
read()
participants_of(1)
local results = {}
for i = 2, #ARGV do
    local participant = ARGV[i]
    local known = record(participant)
    local result
    if known then
        local rank = size(LINE) > 0 and call('ZRANK', LINE, participant)
        local held_until = score(HOLDS, participant)
        local lease = known.lease or ''
        if held_until then
            result = {'held', on_wall(held_until), lease}
        elseif rank then
            result = {'waiting', rank + 1, lease}
        else
            result = {known.lease and 'seated' or 'away', 0, lease}
        end
    else
        local met = mark(participant)
        result = {(met == 'x' or met == 'sx') and 'put_out' or 'absent', 0, ''}
    end
    table.insert(results, result)
end
local reply = {status = room.state == 'ended' and 'ended' or 'ok', room = snapshot(due_at())}
if next(results) then
    reply.results = results
end
return cjson.encode(reply)
