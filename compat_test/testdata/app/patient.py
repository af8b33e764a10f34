"""The app of tapp for Flower, which gives a worker one second to answer what its buttons ask."""
from celery.app.control import Control

from tapp import PATIENCE, app


class PatientControl(Control):
    def broadcast(self, *args, **kwargs):
        if kwargs.get("destination"):  # then it has an end when they have answered
            kwargs["timeout"] = PATIENCE
        return super().broadcast(*args, **kwargs)


app.control_cls = PatientControl
