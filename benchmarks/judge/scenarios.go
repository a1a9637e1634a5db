package main

import "time"

// scenarios are listed in the order of the table.
var scenarios = []*scenario{
	hang("hang", "hangs for 30 s", 150, steady),
	hang("hang-lognormal", "hangs for 30 s, latency lognormal", 165, lognormal),
	longHang(),
	tenth(),
	overload(sheds, 1.2),
	overload(sheds, 2),
	overload(sheds, 5),
	overload(queues, 1.2),
	overload(queues, 2),
	overload(queues, 5),
	smallClients(),
	metastable(),
	blip(),
	dead("dead-1m", "dead for a minute", time.Minute),
	dead("dead-10m", "dead for ten minutes", 10*time.Minute),
	failing(10),
	failing(20),
	failing(50),
	shards(),
	alone(),
	ownNetwork(),
	quiet(),
	pauses(),
	coldStart(),
	longPoll("long-poll", "long polls, new host", 0, atMost(0)),
	longPoll("long-poll-warm", "long polls, warm host", time.Minute, noBound),
	withoutSilence(longPoll("long-poll-no-silence", "long polls, warm host, `Silence: -1`", time.Minute, atMost(0))),
}

func withoutSilence(sc *scenario) *scenario {
	sc.noSilence = true
	return sc
}
