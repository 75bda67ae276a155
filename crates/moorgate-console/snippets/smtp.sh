moorgate agent --via shield --map 1587=smtp.example.com:587 -- your-app --smtp 127.0.0.1:1587
