package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

// takeURLs has the settings connect where flags say.
func takeURLs(c *cli.Context, conf *settings.Settings) {
	if url := c.String("broker"); url != "" {
		conf.BrokerURL, conf.BrokerReadURL, conf.BrokerWriteURL = url, "", ""
	}
	if url := c.String("result-backend"); url != "" {
		conf.ResultBackend = url
	}
}

// readBroker reads how to reach the broker alone. What is wrong with it is the user's mistake.
func readBroker(c *cli.Context, conf *settings.Settings) (fromsettings.Connections, error) {
	cs := fromsettings.URLs(conf)
	cs.BackendURL = "" // of no concern here
	if err := cs.Read(conf); err != nil {
		return cs, usage(c, err, false)
	}
	return cs, nil
}

// useEmbedded takes an embedded Redis for broker and results, whatever conf says about others.
func useEmbedded(conf *settings.Settings, url string) {
	conf.BrokerURL, conf.BrokerReadURL, conf.BrokerWriteURL, conf.ResultBackend = url, "", "", url
	conf.BrokerUseSSL, conf.RedisBackendUseSSL, conf.RedisUsername, conf.RedisPassword = nil, nil, "", ""
	conf.BrokerTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
	conf.ResultBackendTransportOptions.ConnectionOptions = settings.ConnectionOptions{}
}
