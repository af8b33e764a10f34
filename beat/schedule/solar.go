package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Solar is due when the sun is somewhere, at a place at sea level and without looking at the weather: Celery's
// solar, which asks PyEphem. Times are whole seconds.
type Solar struct {
	event               string
	latitude, longitude coordinate
	at                  sunEvent
}

type sunEvent struct {
	direction int     // 1: on its way up, -1: down, 0: at its highest
	altitude  float64 // of the centre or, if limb, the upper edge
	limb      bool
}

var sunEvents = map[string]sunEvent{
	"dawn_astronomical": {1, -18, false},
	"dawn_nautical":     {1, -12, false},
	"dawn_civil":        {1, -6, false},
	"sunrise":           {1, -34.0 / 60, true},
	"solar_noon":        {},
	"sunset":            {-1, -34.0 / 60, true},
	"dusk_civil":        {-1, -6, false},
	"dusk_nautical":     {-1, -12, false},
	"dusk_astronomical": {-1, -18, false},
}

// searchedDays is how far an event is searched that does not happen every day.
const searchedDays = 366

// NewSolar returns the schedule of an event, by Celery's name, at a place in degrees; north and east are
// positive.
func NewSolar(event string, latitude, longitude float64) (*Solar, error) {
	return newSolar(event, coordinateOf(latitude), coordinateOf(longitude))
}

func newSolar(event string, latitude, longitude coordinate) (*Solar, error) {
	at, ok := sunEvents[event]
	switch {
	case !ok:
		return nil, fmt.Errorf("event %q is not one of %s", event, strings.Join(slices.Sorted(maps.Keys(sunEvents)), ", "))
	case !(math.Abs(latitude.degrees) <= 90):
		return nil, fmt.Errorf("latitude %s is not between -90 and 90", latitude.text)
	case !(math.Abs(longitude.degrees) <= 180):
		return nil, fmt.Errorf("longitude %s is not between -180 and 180", longitude.text)
	}
	return &Solar{event, latitude, longitude, at}, nil
}

var j2000 = time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)

// Next implements [Schedule].
func (s *Solar) Next(last time.Time) time.Time {
	if year := last.Year(); year < 1 || year > lastYear {
		return time.Time{}
	}
	sinceJ2000 := float64(last.Unix()-j2000.Unix()) / day
	first := int64(math.Floor(sinceJ2000+s.longitude.degrees/360)) - 1
	for n := first; n <= first+searchedDays+2; n++ {
		for _, days := range s.ofDay(n) {
			at := time.Unix(j2000.Unix()+int64(math.Round(days*day)), 0).UTC()
			if at.After(last) {
				return at
			}
		}
	}
	return time.Time{}
}

// ofDay are the times of the event from one lowest place of the sun to the next. It is always the same for
// a day, wherever a search began: a time that was found is not found again as a slightly later one.
func (s *Solar) ofDay(n int64) []float64 {
	noon := float64(n) - s.longitude.degrees/360
	highest := s.meridian(noon, 0)
	if s.at.direction == 0 {
		return []float64{highest}
	}
	var times []float64
	// Near the poles the sun may rise in either half of a day.
	for _, half := range [][2]float64{{s.meridian(noon-0.5, 180), highest}, {highest, s.meridian(noon+0.5, 180)}} {
		if days, ok := s.crossing(half[0], half[1]); ok {
			times = append(times, days)
		}
	}
	return times
}

// meridian is when the sun's hour angle is 0 or 180, near a time.
func (s *Solar) meridian(days, angle float64) float64 {
	for range 3 {
		days -= math.Remainder(sunAt(days).hourAngle(s.longitude.degrees)-angle, 360) / 360
	}
	return days
}

// crossing is when, between two times, the sun comes to the event's altitude in its direction.
func (s *Solar) crossing(from, to float64) (days float64, ok bool) {
	up := float64(s.at.direction)
	if up*s.over(from) > 0 || up*s.over(to) <= 0 {
		return 0, false
	}
	for to-from > 0.01/day {
		if middle := (from + to) / 2; up*s.over(middle) > 0 {
			to = middle
		} else {
			from = middle
		}
	}
	return to, true
}

// over is how far the sun is over the event's altitude.
func (s *Solar) over(days float64) float64 {
	at := sunAt(days)
	altitude := at.altitude(s.latitude.degrees, s.longitude.degrees) - s.at.altitude
	if s.at.limb {
		altitude += at.radius()
	}
	return altitude
}

// String implements [Schedule].
func (s *Solar) String() string {
	return fmt.Sprintf("<solar: %s at latitude %s, longitude: %s>", s.event, s.latitude.text, s.longitude.text)
}

// coordinate is a number of degrees, as it was written.
type coordinate struct {
	degrees float64
	text    json.Number
}

func coordinateOf(degrees float64) coordinate {
	text := strconv.FormatFloat(degrees, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0" // as Python has it
	}
	return coordinate{degrees, json.Number(text)}
}

type solarFields struct {
	Event string      `json:"event"`
	Lat   json.Number `json:"lat"`
	Lon   json.Number `json:"lon"`
}

func (f *solarFields) solar() (*Solar, error) {
	latitude, errLat := f.Lat.Float64()
	longitude, errLon := f.Lon.Float64()
	if errLat != nil || errLon != nil {
		return nil, errors.New("solar needs event, lat and lon")
	}
	return newSolar(f.Event, coordinate{latitude, f.Lat}, coordinate{longitude, f.Lon})
}
