package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/internal/redisconn"
)

// setting assigns the value of one transport option. Values are JSON, or plain text.
type setting func(value string) error

// applyOptions assigns key=value pairs, or whole JSON objects, to known settings.
func applyOptions(flag string, given []string, known map[string]setting) error {
	for _, entry := range given {
		pairs, err := splitOptions(entry)
		if err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			set, ok := known[key]
			if !ok {
				names := slices.Sorted(maps.Keys(known))
				return fmt.Errorf("--%s: unknown option '%s'.%s", flag, key, didYouMean(key, names, ""))
			}
			if err := set(pairs[key]); err != nil {
				return fmt.Errorf("--%s: %s: %w", flag, key, err)
			}
		}
	}
	return nil
}

func splitOptions(entry string) (map[string]string, error) {
	if !strings.HasPrefix(strings.TrimSpace(entry), "{") {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("'%s' is not KEY=VALUE", entry)
		}
		return map[string]string{strings.TrimSpace(key): value}, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(entry), &object); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	pairs := make(map[string]string, len(object))
	for key, raw := range object {
		if string(raw) == "null" {
			continue // Python's None: the default
		}
		pairs[key] = string(raw)
	}
	return pairs, nil
}

func setText(dst *string) setting {
	return func(value string) error {
		if strings.HasPrefix(value, `"`) {
			return json.Unmarshal([]byte(value), dst)
		}
		*dst = value
		return nil
	}
}

func setInt(dst *int) setting {
	return func(value string) (err error) {
		if *dst, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("'%s' is not a whole number", value)
		}
		return nil
	}
}

func setSeconds(dst *time.Duration) setting {
	return func(value string) (err error) {
		*dst, err = parseSeconds(value)
		return err
	}
}

// setFalse takes a boolean whose zero value in Go means Python's True.
func setFalse(dst *bool) setting {
	return func(value string) error {
		on, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("'%s' is neither true nor false", value)
		}
		*dst = !on
		return nil
	}
}

// setPrefix takes true for the default, false for none, or a prefix.
func setPrefix(prefix *string, none *bool) setting {
	return func(value string) error {
		if on, err := strconv.ParseBool(value); err == nil {
			*prefix, *none = "", !on
			return nil
		}
		return setText(prefix)(value)
	}
}

// setInts takes 0,3,6,9 or [0,3,6,9].
func setInts(dst *[]int) setting {
	return func(value string) error {
		var list []int
		for part := range strings.SplitSeq(strings.Trim(value, "[] "), ",") {
			n, err := strconv.Atoi(strings.TrimSpace(part))
			if err != nil {
				return fmt.Errorf("'%s' is not a list of whole numbers", value)
			}
			list = append(list, n)
		}
		*dst = list
		return nil
	}
}

// setNothing accepts an option that has no meaning here.
func setNothing(string) error { return nil }

// connectionSettings are the transport options about connections, which broker
// and result backend share.
func connectionSettings(o *redisconn.Options) map[string]setting {
	return map[string]setting{
		"socket_timeout":           setSeconds(&o.ReadTimeout),
		"socket_connect_timeout":   setSeconds(&o.ConnectTimeout),
		"health_check_interval":    setSeconds(&o.HealthCheck),
		"client_name":              setText(&o.ClientName),
		"master_name":              setText(&o.MasterName),
		"min_other_sentinels":      setInt(&o.MinOtherSentinels),
		"sentinel_kwargs":          setSentinel(o),
		"username":                 setText(&o.Username),
		"password":                 setText(&o.Password),
		"socket_keepalive":         setNothing, // always on
		"socket_keepalive_options": setNothing,
		"retry_on_timeout":         setNothing, // always
		"max_connections":          setNothing, // a handful, shared
		"polling_interval":         setNothing,
	}
}

// setSentinel takes the user and password for Sentinel itself.
func setSentinel(o *redisconn.Options) setting {
	return func(value string) error {
		var kwargs struct{ Username, Password string }
		if err := json.Unmarshal([]byte(value), &kwargs); err != nil {
			return fmt.Errorf("not a JSON object: %w", err)
		}
		o.SentinelUsername, o.SentinelPassword = kwargs.Username, kwargs.Password
		return nil
	}
}
