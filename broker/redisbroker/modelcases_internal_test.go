package redisbroker

// models are what the gate explores. Each worker begins alive, but with no beat of its own.
var models = []model{
	{
		name: "a death", large: true, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "a lapse", large: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "claim": 1, "begin": 1, "renew": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "acknowledged early", early: true, claimed: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "a sweep", large: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "claim": 1, "begin": 1, "renew": 1}),
			modelWorker("B", map[string]int{"beat": 1, "sweep": 1, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "a peer sweeps", ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "renew": 1, "finish": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
	{
		name: "a peer is swept", ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "sweep": 1, "claim": 1, "begin": 1}),
			modelPeer(map[string]int{"pop": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "inboxes", forsaken: true, ticks: 1, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "begin": 1, "finish": 1, "close": 1}),
			modelWorker("B", map[string]int{"beat": 1, "claim": 1, "begin": 1, "give back": 1}),
			modelPeer(map[string]int{"pop": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "a claim is not heard of", large: true, ticks: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"claim": 1, "begin": 1}),
		},
	},
	{
		name: "an early acknowledgement is not heard of", large: true, early: true, deaths: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelWorker("B", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "a move is not heard of", losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "claim": 1, "begin": 1, "give back": 1, "close": 1}),
			modelWorker("B", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "parking is not heard of", large: true, ticks: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "begin": 1}),
		},
	},
	{
		name: "much is not heard of", large: true, ticks: 1, deaths: 1, losses: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 2, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "a claim comes late", lates: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "give back": 1}),
			modelWorker("B", map[string]int{"claim": 1, "give back": 1}),
		},
	},
	{
		name: "a waiter's claim comes late", lates: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "begin": 1}),
			modelWorker("B", map[string]int{"move": 1, "begin": 1, "give back": 1}),
		},
	},
	{
		name: "an acknowledgement comes late", lates: 1, early: true, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelWorker("B", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "held again", claimed: true, early: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 2, "hold": 1, "begin": 1}),
			modelWorker("B", map[string]int{"look": 2, "claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "what is held again comes late", claimed: true, early: true, losses: 1, lates: 1, unsure: "hold", actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 2, "hold": 1, "begin": 1}),
			modelWorker("B", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "held again, in doubt", large: true, claimed: true, early: true, losses: 1, lates: 1, unsure: "hold", ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 2, "hold": 1, "begin": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "an answer is slow", claimed: true, patient: true, slows: 1, unsure: "beat", ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "claim": 1, "begin": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "a beat is not heard of", claimed: true, patient: true, losses: 1, unsure: "beat", ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 2, "claim": 1, "begin": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "parked", forsaken: true, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "parked under one name", messages: 2, claimed: true, oneTask: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 2, "due": 1, "begin": 1}),
			modelWorker("B", map[string]int{"unpark": 1}),
		},
	},
	{
		name: "parked beside a peer", large: true, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
	{
		name: "two, and a death", messages: 2, claimed: true, inOrder: true, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "two are given back in order", messages: 2, inOrder: true, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "claim": 1, "give back": 1}),
			modelWorker("B", map[string]int{"move": 1, "claim": 1}),
		},
	},
	{
		name: "two in an inbox", messages: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "begin": 1, "close": 1}),
			modelWorker("B", map[string]int{"move": 1, "beat": 1, "claim": 1, "begin": 1, "give back": 1}),
		},
	},
	{
		name: "two are accepted, and not heard of", messages: 2, early: true, deaths: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 2}),
			modelWorker("B", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "two are accepted beside a peer", messages: 2, early: true, claimed: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
	{
		name: "two are claimed, and not heard of", large: true, messages: 2, ticks: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "give back": 1}),
			modelWorker("B", map[string]int{"claim": 1, "begin": 1}),
		},
	},
	{
		name: "one parked and one ready", large: true, messages: 2, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "park": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "one parked and one ready, and a death", large: true, messages: 2, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "park": 1, "due": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "claim": 1, "begin": 2}),
		},
	},
	{
		name: "two beside a peer", messages: 2, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "renew": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
	{
		name: "two beside a peer, and a death", large: true, messages: 2, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "renew": 1, "finish": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 2, "begin": 2, "finish": 1}),
		},
	},
	{
		name: "two, and two deaths", large: true, messages: 2, ticks: 3, deaths: 2, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "claim": 1, "begin": 2, "renew": 1, "finish": 2}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 2, "finish": 1, "give back": 1}),
		},
	},
}
