moorgate agent --via shield --map 13306=db.example.com:3306 -- \
    mysql -h 127.0.0.1 -P 13306 -u app app
