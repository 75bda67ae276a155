moorgate agent --via shield --map 15432=db.example.com:5432 -- \
    psql "host=db.example.com hostaddr=127.0.0.1 port=15432 user=app dbname=app sslmode=verify-full"
