#!lua flags=no-writes
-- Tells which commands the caller's user may not run, for `capacity doctor`. None of them is run.
-- ARGV[1]   JSON: commands, each a list of its name and arguments
-- Reply     the numbers of those that are refused, from 1
local refused = {}
for number, command in ipairs(cjson.decode(ARGV[1])) do
    if not redis.acl_check_cmd(unpack(command)) then
        refused[#refused + 1] = number
    end
end
return refused
