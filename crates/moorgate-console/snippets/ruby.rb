require "net/http"
require "uri"

proxy = URI(ENV.fetch("MOORGATE_STATIC_URL"))
Net::HTTP.start("echo.moorgate.internal", 80, proxy.host, proxy.port, proxy.user, proxy.password) do |http|
  puts http.get("/").body
end
