require "net/http"
require "uri"

proxy = URI(ENV.fetch("MOORGATE_STATIC_URL"))
url = URI("http://echo.moorgate.internal/")
through = [proxy.host, proxy.port, proxy.user, proxy.password]
Net::HTTP.start(url.host, url.port, *through, use_ssl: url.scheme == "https") do |http|
  puts http.get(url.path).body
end
