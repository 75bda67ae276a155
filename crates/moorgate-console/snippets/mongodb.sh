moorgate agent --via shield --map 17017=db.example.com:27017 -- \
    mongosh "mongodb://127.0.0.1:17017/?directConnection=true"
