moorgate agent --via shield -- sh -c 'JAVA_TOOL_OPTIONS="
  -Dhttp.proxyHost=127.0.0.1  -Dhttp.proxyPort=${HTTP_PROXY##*:}
  -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=${HTTP_PROXY##*:}" java -jar app.jar'
