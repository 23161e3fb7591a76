-- Requests of examples/service, each with the next of many keys, and how often each status was answered.

local keys = {}
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  for key in io.lines(args[1]) do
    keys[#keys + 1] = key
  end
  -- Threads begin far from each other.
  at = number * 50021
  statuses = {}
  for status = 100, 599 do
    statuses[status] = 0
  end
end

function request()
  at = at + 1
  return wrk.format("GET", "/items/", { ["X-API-Key"] = keys[at % #keys + 1] })
end

function response(status)
  statuses[status] = statuses[status] + 1
end

function done(summary, latency)
  local others = summary.requests
  for _, status in ipairs({ 200, 429 }) do
    local count = 0
    for _, thread in ipairs(threads) do
      count = count + thread:get("statuses")[status]
    end
    others = others - count
    print(string.format("status %d: %d", status, count))
  end
  local errors = summary.errors
  -- Whatever is neither has gone wrong.
  print("other statuses: " .. others)
  print(string.format("broken: connect %d, read %d, write %d, timeout %d", errors.connect, errors.read, errors.write, errors.timeout))
end
