curl -x "$MOORGATE_STATIC_URL" "http://echo.moorgate.internal/"
