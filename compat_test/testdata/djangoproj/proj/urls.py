from django.urls import path

from app import views

urlpatterns = [path("test/", views.test), path("greet/", views.greet)]
