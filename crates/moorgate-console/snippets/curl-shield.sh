curl -x "$MOORGATE_SHIELD_URL" ${MOORGATE_CA:+--proxy-cacert "$MOORGATE_CA"} "http://echo.moorgate.internal/"
