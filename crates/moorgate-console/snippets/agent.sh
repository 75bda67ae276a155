moorgate agent --via shield -- curl "http://echo.moorgate.internal/"
