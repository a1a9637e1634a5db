module github.com/breakerhttp/breakerhttp/store/redisstore

go 1.26

require github.com/breakerhttp/breakerhttp v0.0.0

replace github.com/breakerhttp/breakerhttp => ../..
